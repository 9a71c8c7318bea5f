;; Counts under a new label value again and again.
@capabilities metrics
@text 4096 waybills
@u32 4120 5
@u32 4124 1
@text 4130 depot
@text 4200 a
@process
(call $define (i32.const 1) (i32.const 4096) (i32.const 8) (i32.const 4096) (i32.const 4)
  (i32.const 4120) (i32.const 1) (i32.const 4130) (i32.const 5) (i32.const 600))
(local.set $n (i32.load (i32.const 604)))
(loop $more
  (call $record (local.get $n) (i32.const 4124) (i32.const 1) (i32.const 4200) (i32.const 1) (f64.const 1.5) (i32.const 620))
  (i32.store8 (i32.const 4200) (i32.add (i32.load8_u (i32.const 4200)) (i32.const 1)))
  (br_if $more (i32.lt_u (i32.load8_u (i32.const 4200)) (i32.const 120))))
(i32.store8 (i32.const 4200) (i32.const 97))
