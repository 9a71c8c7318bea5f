;; Never comes back from `process`.
@process
(loop $ever (br $ever))
