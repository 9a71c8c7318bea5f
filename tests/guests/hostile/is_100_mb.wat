;; A file of 100 MB.
@bytes 100000000
