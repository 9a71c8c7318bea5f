;; Takes so much memory that it is replaced after every call, and counts under 20 new label values and logs a line
;; in each: a second has less calls than lines are allowed.
@capabilities metrics clock log
@imports
(import "sluice:plugin/clock@0.1.0" "now-unix-nano" (func $now (param i32)))
@text 4096 waybills
@u32 4120 5
@u32 4124 17
@text 4130 depot
@module
;; The time in letters, as the last 16 of the label value; the one before them counts.
(func $stamp (local $n i32) (local $time i64)
  (call $now (i32.const 600))
  (local.set $time (i64.load (i32.const 608)))
  (loop $more
    (i32.store8 (i32.add (i32.const 4201) (local.get $n))
      (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $time) (i64.const 15)))))
    (local.set $time (i64.shr_u (local.get $time) (i64.const 4)))
    (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 16)))))
@process
(drop (memory.grow (i32.const 450)))
(call $stamp)
(call $define (i32.const 1) (i32.const 4096) (i32.const 8) (i32.const 4096) (i32.const 4)
  (i32.const 4120) (i32.const 1) (i32.const 4130) (i32.const 5) (i32.const 600))
(local.set $n (i32.const 20))
(loop $more
  (i32.store8 (i32.const 4200) (i32.add (i32.const 97) (local.get $n)))
  (call $record (i32.load (i32.const 604)) (i32.const 4124) (i32.const 1) (i32.const 4200) (i32.const 17) (f64.const 1)
    (i32.const 620))
  (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
(local.set $n (i32.const 1))
(loop $more (call $log (i32.const 2) (i32.const 4096) (i32.const 8))
  (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
