;; Hands over a list that reaches out of its memory.
@process
(call $drop_rows (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const -1) (i32.const 600))
