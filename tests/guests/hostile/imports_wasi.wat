;; Wants the clock of WASI.
@bytes wasi
