;; Calls the host for ever.
@process
(loop $ever (drop (call $spans (local.get $batch))) (br $ever))
