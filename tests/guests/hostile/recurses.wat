;; Calls itself until the stack is full.
@process
(call $deeper)
@module
(func $deeper (call $deeper) (call $deeper))
