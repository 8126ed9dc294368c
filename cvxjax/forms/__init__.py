"""Forms of convex problems, which solvers and judges know; programs are of a form."""
