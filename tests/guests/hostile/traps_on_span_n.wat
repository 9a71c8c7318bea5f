;; Traps when a certain span is in the batch, by its id: alone and among others, wherever it stands.
@imports
(import "sluice:plugin/batches@0.1.0" "[method]batch.span-ids" (func $span_ids (param i32 i32 i32)))
@whole-process
(global.set $heap (i32.const 65536))
(call $span_ids (local.get $batch) (i32.const 2) (i32.const 600))
(local.set $n (i32.load (i32.const 608)))
(block $end
  (loop $next
    (br_if $end (i32.eqz (local.get $n)))
    (local.set $n (i32.sub (local.get $n) (i32.const 8)))
    (br_if $next (i32.ne (i32.load8_u (i32.add (i32.load (i32.const 604)) (local.get $n))) (i32.const 13)))
    unreachable))
(call $drop (local.get $batch)) (call $ok)
