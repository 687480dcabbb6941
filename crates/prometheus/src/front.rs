//! Proxies in front of a Service, which count its requests and not those of its pods.
//!
//! The shapes are those of ingress-nginx 1.13 (`nginx_ingress_controller_requests{namespace,ingress,service,status}`),
//! Traefik 3.5 (`traefik_service_requests_total{code,method,protocol,service}`, with `addServicesLabels`, its default), and
//! Envoy Gateway 1.5 (`envoy_cluster_upstream_rq_xx{envoy_response_code_class,envoy_cluster_name}`, with its default
//! `clusterStatName`). None of them has the pod: Traefik's `url` is on `traefik_service_server_up` alone, and Envoy's
//! statistics by endpoint, off by default, are by address.

use crate::query::{pattern, quoted};

/// The label that tells a proxy's replicas apart. Each counts, starts and ends alone: a sum over them falls when one of
/// them ends, and would look like a counter that started anew.
pub(crate) const REPLICA: &str = "instance";

/// A proxy in front of all pods of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// ingress-nginx, which knows a target by its Service.
    IngressNginx,
    /// Traefik, which knows a target by its Service, or by its IngressRoute.
    Traefik,
    /// Envoy Gateway, which knows a target by its HTTPRoute or GRPCRoute.
    EnvoyGateway,
}

impl Front {
    /// A metric of one Service or route by replica of the proxy, and by one more label.
    pub(crate) fn by_replica(self, metric: &str, label: &str, namespace: &str, service: &str) -> String {
        let series: Vec<String> =
            self.matchers(namespace, service).iter().map(|matchers| format!("{metric}{{{matchers}}}")).collect();
        format!("sum by ({REPLICA}, {label}) ({})", series.join(" or "))
    }

    /// Matchers of the series of one Service or route; each series is matched by one of them at most.
    ///
    /// A scrape that does not honour the proxy's own labels renames those that it sets itself to `exported_...`: a
    /// ServiceMonitor both, a pod's annotations the namespace alone.
    fn matchers(self, namespace: &str, service: &str) -> Vec<String> {
        match self {
            Self::IngressNginx => {
                let (namespace, service) = (quoted(namespace), quoted(service));
                vec![
                    format!(r#"namespace="{namespace}",service="{service}",exported_namespace="",exported_service="""#),
                    format!(r#"exported_namespace="{namespace}",service="{service}",exported_service="""#),
                    format!(r#"exported_namespace="{namespace}",exported_service="{service}""#),
                ]
            }
            Self::Traefik => {
                // <namespace>-<service>-<port>@kubernetes for an Ingress, and for a route of the Gateway API, there with
                // the route before it in newer releases; <namespace>-<IngressRoute>-<hash>@kubernetescrd for one with a
                // single Service.
                let name = pattern(&format!("{namespace}-{service}").replace('.', "-"));
                let name = quoted(&format!("(httproute-.+-svc-)?{name}-[a-z0-9]+@kubernetes[a-z]*"));
                vec![format!(r#"service=~"{name}",exported_service="""#), format!(r#"exported_service=~"{name}""#)]
            }
            Self::EnvoyGateway => {
                let (namespace, route) = (pattern(namespace), pattern(service));
                let name = quoted(&format!("(httproute|grpcroute)/{namespace}/{route}/rule/.+"));
                vec![format!(r#"envoy_cluster_name=~"{name}""#)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(front: Front) -> String {
        front.by_replica("m", "code", "shop", "checkout")
    }

    fn is_match(front: Front, service: &str, label: &str) -> bool {
        let query = front.by_replica("m", "code", "shop", service);
        let pattern = query.split("=~\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        regex::Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(label)
    }

    #[test]
    fn replicas_are_counted_apart_and_renamed_labels_are_found() {
        assert_eq!(
            query(Front::IngressNginx),
            "sum by (instance, code) (\
             m{namespace=\"shop\",service=\"checkout\",exported_namespace=\"\",exported_service=\"\"} or \
             m{exported_namespace=\"shop\",service=\"checkout\",exported_service=\"\"} or \
             m{exported_namespace=\"shop\",exported_service=\"checkout\"})"
        );
        for front in [Front::IngressNginx, Front::Traefik, Front::EnvoyGateway] {
            assert!(promql_parser::parser::parse(&query(front)).is_ok(), "{}", query(front));
        }
    }

    #[test]
    fn traefik_knows_a_service_by_many_names() {
        for own in [
            "shop-checkout-80@kubernetes",
            "shop-checkout-http@kubernetes",
            "shop-checkout-6f97418635c7e18853da@kubernetescrd",
            "shop-checkout-80@kubernetesgateway",
            "httproute-shop-web-gw-default-ep-web-0-1c0cf64bde37d9d0df06-svc-shop-checkout-80@kubernetesgateway",
        ] {
            assert!(is_match(Front::Traefik, "checkout", own), "{own}");
        }
        for other in ["shop-checkout-api-80@kubernetes", "myshop-checkout-80@kubernetes", "shop-checkout-80@file"] {
            assert!(!is_match(Front::Traefik, "checkout", other), "{other}");
        }
    }

    #[test]
    fn envoy_gateway_knows_a_route_by_its_rules() {
        assert!(is_match(Front::EnvoyGateway, "checkout", "httproute/shop/checkout/rule/0"));
        assert!(is_match(Front::EnvoyGateway, "a.b", "grpcroute/shop/a.b/rule/12"));
        assert!(!is_match(Front::EnvoyGateway, "a.b", "httproute/shop/axb/rule/0"));
        assert!(!is_match(Front::EnvoyGateway, "checkout", "httproute/shop/checkout-api/rule/0"));
    }
}
