;; Its code is small, and every one of its loops hands on every local: a compiler takes minutes.
@bomb
