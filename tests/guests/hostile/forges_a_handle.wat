;; Asks about a batch that it was never given.
@process
(call $len (i32.const 77) (i32.const 2) (i32.const 600))
