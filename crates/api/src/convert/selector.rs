//! Choosing workloads by their labels.

use kube::core::{Expression, Selector};

use crate::v1alpha1::{LabelSelectorSpec, SelectorOperator};

/// The selector as kube matches it.
pub fn selector(spec: &LabelSelectorSpec) -> Selector {
    let equal = spec.match_labels.iter().map(|(key, value)| Expression::Equal(key.clone(), value.clone()));
    let required = spec.match_expressions.iter().map(|requirement| {
        let key = requirement.key.clone();
        let values = requirement.values.iter().cloned().collect();
        match requirement.operator {
            SelectorOperator::In => Expression::In(key, values),
            SelectorOperator::NotIn => Expression::NotIn(key, values),
            SelectorOperator::Exists => Expression::Exists(key),
            SelectorOperator::DoesNotExist => Expression::DoesNotExist(key),
        }
    });
    equal.chain(required).collect()
}
