;; Hands over 17 MiB of row numbers at once.
@pages 320
@process
(call $drop_rows (local.get $batch) (i32.const 2) (i32.const 65536) (i32.const 0x450000) (i32.const 600))
