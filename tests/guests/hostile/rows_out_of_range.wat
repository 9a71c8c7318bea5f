;; Drops a row that is not there, and gives up when that is refused.
@u32 4096 1000000
@process
(call $drop_rows (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 1) (i32.const 600))
(if (i32.load8_u (i32.const 600)) (then (call $drop (local.get $batch)) (return (call $fail (i32.const 4096) (i32.const 1)))))
