;; Never says what it is.
@describe
(loop $ever (br $ever))
