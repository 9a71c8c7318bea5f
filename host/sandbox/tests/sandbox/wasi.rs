//! A guest that imports a part of WASI, as the runtimes of some languages do, and calls it.

use super::guest::Guest;

/// The part, by WASI 0.2.3.
const WIT: &str = "
package wasi:io@0.2.3 {
  interface error { resource error { to-debug-string: func() -> string; } }
  interface poll { resource pollable { ready: func() -> bool; } poll: func(in: list<borrow<pollable>>) -> list<u32>; }
  interface streams {
    use error.{error};
    use poll.{pollable};
    variant stream-error { last-operation-failed(error), closed }
    resource output-stream {
      blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
      subscribe: func() -> pollable;
    }
  }
}
package wasi:cli@0.2.3 {
  interface environment {
    get-environment: func() -> list<tuple<string, string>>;
    initial-cwd: func() -> option<string>;
  }
  interface stderr { use wasi:io/streams@0.2.3.{output-stream}; get-stderr: func() -> output-stream; }
  interface exit { exit: func(status: result); }
}
package wasi:clocks@0.2.3 {
  interface monotonic-clock { now: func() -> u64; }
  interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
}
package wasi:random@0.2.3 {
  interface random { get-random-bytes: func(len: u64) -> list<u8>; get-random-u64: func() -> u64; }
}
package wasi:filesystem@0.2.3 {
  interface types { resource descriptor { sync: func() -> result; } }
  interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }
}
package wasi:sockets@0.2.3 {
  interface network { enum error-code { unknown, access-denied, not-supported } enum ip-address-family { ipv4, ipv6 } }
  interface tcp { resource tcp-socket { is-listening: func() -> bool; } }
  interface tcp-create-socket {
    use network.{error-code, ip-address-family};
    use tcp.{tcp-socket};
    create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>;
  }
}
";

const INTERFACES: [&str; 9] = [
    "io/poll",
    "cli/environment",
    "cli/stderr",
    "cli/exit",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "random/random",
    "filesystem/preopens",
    "sockets/tcp-create-socket",
];

/// As the canonical ABI lowers them; the last argument of most says where the answer goes.
const IMPORTS: &str = r#"
  (import "wasi:cli/environment@0.2.3" "get-environment" (func $environment (param i32)))
  (import "wasi:cli/environment@0.2.3" "initial-cwd" (func $cwd (param i32)))
  (import "wasi:cli/stderr@0.2.3" "get-stderr" (func $stderr (result i32)))
  (import "wasi:cli/exit@0.2.3" "exit" (func $exit (param i32)))
  (import "wasi:io/streams@0.2.3" "[method]output-stream.blocking-write-and-flush" (func $print (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.3" "[method]output-stream.subscribe" (func $subscribe (param i32) (result i32)))
  (import "wasi:io/streams@0.2.3" "[resource-drop]output-stream" (func $drop_stream (param i32)))
  (import "wasi:io/poll@0.2.3" "[method]pollable.ready" (func $ready (param i32) (result i32)))
  (import "wasi:io/poll@0.2.3" "[resource-drop]pollable" (func $drop_pollable (param i32)))
  (import "wasi:io/poll@0.2.3" "poll" (func $poll (param i32 i32 i32)))
  (import "wasi:clocks/monotonic-clock@0.2.3" "now" (func $ticks (result i64)))
  (import "wasi:clocks/wall-clock@0.2.3" "now" (func $wall (param i32)))
  (import "wasi:random/random@0.2.3" "get-random-bytes" (func $random_bytes (param i64 i32)))
  (import "wasi:random/random@0.2.3" "get-random-u64" (func $random (result i64)))
  (import "wasi:filesystem/preopens@0.2.3" "get-directories" (func $directories (param i32)))
  (import "wasi:sockets/tcp-create-socket@0.2.3" "create-tcp-socket" (func $socket (param i32 i32)))
"#;

/// Traps unless WASI says no to all that there is.
pub const FINDS_NOTHING: &str = "
  (call $environment (i32.const 600)) (if (i32.load (i32.const 604)) (then unreachable))
  (call $cwd (i32.const 600)) (if (i32.load8_u (i32.const 600)) (then unreachable))
  (call $directories (i32.const 600)) (if (i32.load (i32.const 604)) (then unreachable))
  ;; An error, and of the errors `access-denied`.
  (call $socket (i32.const 0) (i32.const 600))
  (if (i32.ne (i32.load8_u (i32.const 600)) (i32.const 1)) (then unreachable))
  (if (i32.ne (i32.load8_u (i32.const 604)) (i32.const 1)) (then unreachable))
  ;; An error, and of the errors `closed`.
  (i32.store (i32.const 640) (call $stderr))
  (call $print (i32.load (i32.const 640)) (i32.const 4096) (i32.const 8) (i32.const 600))
  (if (i32.ne (i32.load8_u (i32.const 600)) (i32.const 1)) (then unreachable))
  (if (i32.ne (i32.load8_u (i32.const 604)) (i32.const 1)) (then unreachable))
  ;; Handles can be lent, alone and in lists.
  (i32.store (i32.const 644) (call $subscribe (i32.load (i32.const 640))))
  (if (call $ready (i32.load (i32.const 644))) (then unreachable))
  (call $poll (i32.const 644) (i32.const 1) (i32.const 600)) (if (i32.load (i32.const 604)) (then unreachable))
  (call $drop_pollable (i32.load (i32.const 644)))
  (call $drop_stream (i32.load (i32.const 640)))";

/// Traps unless a clock moves by 100 ms a look, the other stands at 1970, and the random numbers are some.
pub const LEARNS_NOTHING: &str = "
  (i64.store (i32.const 648) (call $ticks))
  (if (i64.ne (i64.sub (call $ticks) (i64.load (i32.const 648))) (i64.const 100000000)) (then unreachable))
  (call $wall (i32.const 600))
  (if (i64.ne (i64.load (i32.const 600)) (i64.const 0)) (then unreachable))
  (if (i32.load (i32.const 608)) (then unreachable))
  (if (i64.eq (call $random) (call $random)) (then unreachable))
  (call $random_bytes (i64.const 13) (i32.const 600))
  (if (i32.ne (i32.load (i32.const 604)) (i32.const 13)) (then unreachable))";

/// The component of a guest that may call the functions above.
pub fn component(guest: Guest) -> Vec<u8> {
    let imports = INTERFACES.map(|name| format!("import wasi:{name}@0.2.3;")).join("\n");
    guest.imports(IMPORTS).component_for(|text, is_core| {
        if is_core { text } else { text.replace("  import tables;", &format!("  import tables;\n{imports}")) + WIT }
    })
}
