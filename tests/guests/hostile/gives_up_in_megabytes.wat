;; Gives up on batches of several spans, with a message of 2 MiB.
@pages 40
@whole-process
(local.set $n (call $spans (local.get $batch)))
(call $drop (local.get $batch))
(if (i32.eq (local.get $n) (i32.const 1)) (then (return (call $ok))))
(memory.fill (i32.const 0x20000) (i32.const 65) (i32.const 0x200000))
(call $fail (i32.const 0x20000) (i32.const 0x200000))
