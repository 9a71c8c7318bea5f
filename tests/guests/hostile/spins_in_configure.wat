;; Never takes its configuration.
@configure
(loop $ever (br $ever)) (i32.const 2048)
