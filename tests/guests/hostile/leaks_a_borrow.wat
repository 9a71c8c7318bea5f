;; Does not give the batch back.
@whole-process
(if (i32.eq (call $spans (local.get $batch)) (i32.const 1)) (then (call $drop (local.get $batch)))) (call $ok)
