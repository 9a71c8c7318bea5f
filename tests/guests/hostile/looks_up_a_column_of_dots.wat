;; Looks for a column whose name is 4 MiB of dots in a table, and gives up when it is refused.
@pages 80
@capabilities tables
@access read * write *
@imports
(import "sluice:plugin/tables@0.1.0" "look-up" (func $look (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
@text 4096 places
@whole-process
(local.set $n (call $spans (local.get $batch)))
(if (i32.gt_u (local.get $n) (i32.const 1)) (then
  (memory.fill (i32.const 0x20000) (i32.const 46) (i32.const 0x400000))
  (call $look (i32.const 4096) (i32.const 6) (i32.const 0x20000) (i32.const 0x400000) (i32.const 4) (i32.const 0)
    (i32.const 4) (i32.const 0) (i32.const 600))))
(call $drop (local.get $batch))
(if (i32.eq (local.get $n) (i32.const 1)) (then (return (call $ok))))
(if (i32.ne (i32.load (i32.const 604)) (i32.const 5)) (then unreachable))
(call $fail (i32.const 4096) (i32.const 6))
