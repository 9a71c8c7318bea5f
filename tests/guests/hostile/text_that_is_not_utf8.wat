;; Sets a name to bytes that are no UTF-8, and gives up when that is refused.
@u32 4096 0
@u32 4112 2
@u32 8192 65535
@process
(call $set_texts (local.get $batch) (i32.const 2) (i32.const 5)
  (i32.const 4096) (i32.const 1) (i32.const 4112) (i32.const 1) (i32.const 8192) (i32.const 2) (i32.const 600))
(if (i32.load8_u (i32.const 600)) (then (call $drop (local.get $batch)) (return (call $fail (i32.const 4096) (i32.const 1)))))
