;; Logs 4 MiB again and again without a loop and without a call of a function of its own, where wasmtime would look at it.
@one-stretch 400
