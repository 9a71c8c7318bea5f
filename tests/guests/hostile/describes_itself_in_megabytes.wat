;; Says that its version is 8 MiB of the letter A.
@pages 300
@describe
(memory.fill (i32.const 0x20000) (i32.const 65) (i32.const 0x800000))
(i32.store (i32.const 1032) (i32.const 0x20000)) (i32.store (i32.const 1036) (i32.const 0x800000))
