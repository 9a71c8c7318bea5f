;; Its code is small, and a compiler notes of each of its locals in which block it has which value.
@hoard
