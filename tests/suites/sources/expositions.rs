//! What real programs expose, cut down to what matters: each line is as theirs is.

/// ingress-nginx 1.13, with `--metrics-per-host` (the default): two Services, one of another namespace.
pub(crate) const INGRESS_NGINX: &str = r#"
# HELP nginx_ingress_controller_requests The total number of client requests
# TYPE nginx_ingress_controller_requests counter
nginx_ingress_controller_requests{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="ingress-nginx",controller_pod="ingress-nginx-controller-559584768b-g5tnh",host="shop.example.com",ingress="shop",method="GET",namespace="shop",path="/checkout",service="checkout",status="200"} 90
nginx_ingress_controller_requests{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="ingress-nginx",controller_pod="ingress-nginx-controller-559584768b-g5tnh",host="shop.example.com",ingress="shop",method="POST",namespace="shop",path="/checkout",service="checkout",status="200"} 5
nginx_ingress_controller_requests{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="ingress-nginx",controller_pod="ingress-nginx-controller-559584768b-g5tnh",host="shop.example.com",ingress="shop",method="POST",namespace="shop",path="/checkout",service="checkout",status="502"} 5
nginx_ingress_controller_requests{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="ingress-nginx",controller_pod="ingress-nginx-controller-559584768b-g5tnh",host="shop.example.com",ingress="shop",method="GET",namespace="shop",path="/",service="web",status="503"} 1000
nginx_ingress_controller_requests{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="ingress-nginx",controller_pod="ingress-nginx-controller-559584768b-g5tnh",host="other.example.com",ingress="other",method="GET",namespace="other",path="/",service="checkout",status="503"} 1000
# HELP nginx_ingress_controller_response_duration_seconds The time spent on receiving the response from the upstream server
# TYPE nginx_ingress_controller_response_duration_seconds histogram
nginx_ingress_controller_response_duration_seconds_bucket{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="ingress-nginx",controller_pod="ingress-nginx-controller-559584768b-g5tnh",host="shop.example.com",ingress="shop",method="GET",namespace="shop",path="/checkout",service="checkout",status="200",le="0.25"} 80
nginx_ingress_controller_response_duration_seconds_bucket{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="ingress-nginx",controller_pod="ingress-nginx-controller-559584768b-g5tnh",host="shop.example.com",ingress="shop",method="GET",namespace="shop",path="/checkout",service="checkout",status="200",le="0.5"} 95
nginx_ingress_controller_response_duration_seconds_bucket{canary="",controller_class="k8s.io/ingress-nginx",controller_namespace="ingress-nginx",controller_pod="ingress-nginx-controller-559584768b-g5tnh",host="shop.example.com",ingress="shop",method="GET",namespace="shop",path="/checkout",service="checkout",status="200",le="+Inf"} 100
"#;

/// Traefik 3.5, with its own buckets: an Ingress, an IngressRoute, and another Service whose name begins alike.
pub(crate) const TRAEFIK: &str = r#"
# HELP traefik_service_requests_total How many HTTP requests processed on a service, partitioned by status code, protocol, and method.
# TYPE traefik_service_requests_total counter
traefik_service_requests_total{code="200",method="GET",protocol="http",service="shop-checkout-80@kubernetes"} 90
traefik_service_requests_total{code="502",method="GET",protocol="http",service="shop-checkout-80@kubernetes"} 5
traefik_service_requests_total{code="200",method="GET",protocol="http",service="shop-checkout-6f97418635c7e18853da@kubernetescrd"} 5
traefik_service_requests_total{code="503",method="GET",protocol="http",service="shop-checkout-api-80@kubernetes"} 1000
# HELP traefik_service_request_duration_seconds How long it took to process the request on a service, partitioned by status code, protocol, and method.
# TYPE traefik_service_request_duration_seconds histogram
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="shop-checkout-80@kubernetes",le="0.1"} 60
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="shop-checkout-80@kubernetes",le="0.3"} 80
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="shop-checkout-80@kubernetes",le="1.2"} 95
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="shop-checkout-80@kubernetes",le="5"} 100
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="shop-checkout-80@kubernetes",le="+Inf"} 100
"#;

/// Envoy 1.35 as Envoy Gateway 1.5 configures it: an HTTPRoute of two rules, and another.
pub(crate) const ENVOY_GATEWAY: &str = r#"
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="httproute/shop/checkout/rule/0"} 90
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="httproute/shop/checkout/rule/1"} 5
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="httproute/shop/checkout/rule/1"} 5
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="httproute/shop/checkout-api/rule/0"} 1000
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/shop/checkout/rule/0",le="250"} 80
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/shop/checkout/rule/0",le="500"} 95
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/shop/checkout/rule/0",le="+Inf"} 100
"#;

/// A service with the usual names, whose classic histogram the source converts.
pub(crate) const HTTP_SERVER: &str = r#"
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{code="200",le="0.1"} 60
http_request_duration_seconds_bucket{code="200",le="0.25"} 80
http_request_duration_seconds_bucket{code="200",le="0.5"} 95
http_request_duration_seconds_bucket{code="200",le="+Inf"} 100
http_request_duration_seconds_sum{code="200"} 20
http_request_duration_seconds_count{code="200"} 100
"#;

/// What an OpenTelemetry SDK sends with exponential histograms (OTLP as JSON), at this many nanoseconds since the epoch:
/// 70 fast requests (125 to 250 ms), 20 of up to half a second, and 10 that failed, of up to two.
pub(crate) fn otlp(nanoseconds: i128) -> String {
    let point = |code: u32, count: u32, offset: i32, buckets: &str| {
        format!(
            r#"{{"attributes": [{{"key": "http.response.status_code", "value": {{"intValue": "{code}"}}}}],
                "startTimeUnixNano": "{}", "timeUnixNano": "{nanoseconds}", "count": "{count}", "sum": 1.5, "scale": 0,
                "zeroCount": "0", "positive": {{"offset": {offset}, "bucketCounts": {buckets}}}}}"#,
            nanoseconds - 60_000_000_000
        )
    };
    format!(
        r#"{{"resourceMetrics": [{{
            "resource": {{"attributes": [
                {{"key": "service.name", "value": {{"stringValue": "checkout"}}}},
                {{"key": "k8s.namespace.name", "value": {{"stringValue": "shop"}}}},
                {{"key": "k8s.pod.name", "value": {{"stringValue": "web-2-abcde"}}}}]}},
            "scopeMetrics": [{{"metrics": [{{
                "name": "http.server.request.duration", "unit": "s",
                "exponentialHistogram": {{"aggregationTemporality": 2, "dataPoints": [{}, {}]}}}}]}}]}}]}}"#,
        // Bucket i of scale 0 is over 2^i, up to 2^(i+1).
        point(200, 90, -3, r#"["70", "20"]"#),
        point(503, 10, 0, r#"["10"]"#),
    )
}
