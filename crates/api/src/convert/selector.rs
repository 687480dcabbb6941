//! Choosing workloads by their labels.

use kube::core::{Expression, Selector};

use super::InvalidSpec;
use crate::v1alpha1::{LabelSelectorSpec, SelectorOperator};

/// Refuses a selector that cannot be meant. One without labels would choose every Deployment of the namespace.
pub(super) fn is_meant(spec: &LabelSelectorSpec) -> Result<(), InvalidSpec> {
    if spec.match_labels.is_empty() && spec.match_expressions.is_empty() {
        return Err(InvalidSpec::new("spec.selector", "must name at least one label"));
    }
    for (index, one) in spec.match_expressions.iter().enumerate() {
        let wants_values = matches!(one.operator, SelectorOperator::In | SelectorOperator::NotIn);
        if wants_values == one.values.is_empty() {
            let problem = "must have values with the operators In and NotIn, and none with Exists and DoesNotExist";
            return Err(InvalidSpec::new(format!("spec.selector.matchExpressions[{index}]"), problem));
        }
    }
    Ok(())
}

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
