;; Names the first row two million times, and gives up when that is refused.
@pages 200
@text 4096 no.such.key
@process
(call $remove_attribute (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 11)
  (i32.const 0x20000) (i32.const 2000000) (i32.const 600))
(if (i32.load8_u (i32.const 600)) (then (call $drop (local.get $batch)) (return (call $fail (i32.const 4096) (i32.const 1)))))
