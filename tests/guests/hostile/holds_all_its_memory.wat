;; Has nearly all the memory that it may have, and writes into 2 MiB more of it with each call, round and round.
@pages 500
@process
(local.set $n (i32.const 512))
(loop $more
  (i32.store8 (global.get $next) (i32.const 1))
  (global.set $next (i32.add (global.get $next) (i32.const 4096)))
  (if (i32.ge_u (global.get $next) (i32.const 32768000)) (then (global.set $next (i32.const 65536))))
  (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
@module
(global $next (mut i32) (i32.const 65536))
