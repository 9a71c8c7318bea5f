;; Notes the handle of the batch, gives it back, and asks about the batch in a later call, in which none is lent: when it is
;; asked what it knows, right before it is replaced.
@module
(global $kept (mut i32) (i32.const 0))
@whole-process
(global.set $kept (local.get $batch))
(call $drop (local.get $batch))
(call $ok)
@snapshot
(if (global.get $kept) (then (drop (call $spans (global.get $kept)))))
(i64.store (i32.const 512) (i64.const 0)) (i32.store (i32.const 520) (i32.const 0)) (i32.const 512)
