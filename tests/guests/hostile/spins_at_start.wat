;; Its start function never ends.
@start
(loop $ever (br $ever))
