"""Classification of time series by kernels: data sets, protocol, scores, comparison."""
