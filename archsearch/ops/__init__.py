"""What a node can be: one family a file, one registry.

How `cost` counts operations: two for each multiply-add of a product, a convolution or a recurrence, with the bias added
for free; one for each arithmetic operation or nonlinearity that works feature by feature; none for moving data.
"""
