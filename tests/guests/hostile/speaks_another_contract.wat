;; Was built for a contract that there is not yet.
@version 0.2.0
