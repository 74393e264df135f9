vcl 4.1;

# What a cache does that knows nothing of the policy: it keeps one object for each spelling of the URL
# and of the headers that may change the answer. So imgproxy's documents advise for formats chosen by
# Accept and for client hints: all of these headers belong into the key. For benchmarks/edge_hits.py.

backend default {
    .host = "127.0.0.1";
    .port = "@PORT@";
}

sub vcl_recv {
    return (hash);
}

sub vcl_hash {
    hash_data(req.url);
    hash_data("|" + req.http.Accept);
    hash_data("|" + req.http.ECT);
    hash_data("|" + req.http.RTT);
    hash_data("|" + req.http.Downlink);
    hash_data("|" + req.http.Save-Data);
    hash_data("|" + req.http.Sec-CH-DPR);
    hash_data("|" + req.http.Sec-CH-Viewport-Width);
    hash_data("|" + req.http.DPR);
    hash_data("|" + req.http.Viewport-Width);
    return (lookup);
}

sub vcl_backend_response {
    # All of it is in the key.
    unset beresp.http.Vary;
}
