;; Stores 20 values of 100,000 bytes under keys of their own and goes on when it is refused.
@capabilities store
@pages 8
@imports
(import "sluice:plugin/store@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
@u32 4100 1
@u32 4112 1
@u32 4116 100000
@process
(local.set $n (i32.const 20))
(loop $more
  (i32.store8 (i32.const 4096) (i32.add (i32.load8_u (i32.const 4096)) (i32.const 1)))
  (call $set (i32.const 4100) (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 4112) (i32.const 1)
    (i32.const 4096) (i32.const 0) (i32.const 4116) (i32.const 1) (i32.const 65536) (i32.const 100000)
    (i64.const 0) (i32.const 600))
  (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
