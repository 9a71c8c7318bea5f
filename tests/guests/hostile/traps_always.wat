;; Traps in every batch.
@process
unreachable
