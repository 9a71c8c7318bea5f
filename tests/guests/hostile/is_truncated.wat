;; Half a component.
@bytes half
