;; Wants more memory than its limit before it has done anything.
@pages 513
