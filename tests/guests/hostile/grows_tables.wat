;; Lets a table grow until it may not, and then traps.
@process
(loop $more (if (i32.eq (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1)) (then unreachable)) (br $more))
@module
(table $t 1 funcref)
