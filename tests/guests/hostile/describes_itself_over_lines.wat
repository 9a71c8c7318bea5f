;; Has a version that goes on in the next line, as `plugin inspect` would write it, and hides what comes after.
@describe
(i64.store (i32.const 5000) (i64.const 0x640a31))
(i64.store (i32.const 5003) (i64.const 0x6d385b1b))
(i32.store (i32.const 1032) (i32.const 5000)) (i32.store (i32.const 1036) (i32.const 7))
