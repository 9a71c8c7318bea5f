;; Pulls an attribute that it has not declared, and gives up when that is refused.
@access read spans.name write spans.attributes:stamp
@text 4096 user.email
@process
(call $attribute (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 10) (i32.const 600))
(if (i32.load8_u (i32.const 600)) (then (call $drop (local.get $batch)) (return (call $fail (i32.const 4096) (i32.const 1)))))
