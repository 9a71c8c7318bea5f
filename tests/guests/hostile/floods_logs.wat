;; Logs 200 lines a call.
@capabilities log
@process
(local.set $n (i32.const 200))
(loop $more (call $log (i32.const 2) (i32.const 65536) (i32.const 2000))
  (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
