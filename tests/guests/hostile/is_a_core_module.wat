;; No component at all.
@bytes core
