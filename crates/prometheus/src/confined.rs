//! Queries that may see nothing but the series of one namespace.
//!
//! Nothing is written into a query: two parsers that read a text differently would disagree on what was written. A query is
//! let through as it is when every selector in it names the namespace, and when nothing in it could be read in two ways.

use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, VectorSelector, parse};
use thiserror::Error;

use crate::syntax;

/// Why a query may not be asked of a source that is confined.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfinementError {
    /// A selector that does not name the namespace.
    #[error(
        "{selector} may select series of other namespaces, which this source does not give: write {label}=\"{{{{ namespace }}}}\" \
         into each selector"
    )]
    Selector {
        /// The selector's metric, or what stands for it.
        selector: String,
        /// The label that must be there.
        label: String,
    },
    /// Alternatives in a selector.
    #[error("a selector must not hold \"or\": write two selectors")]
    Or,
    /// A function that finds series by itself.
    #[error("{0}() selects series by itself, which this source does not give")]
    Function(String),
    /// A character that parsers disagree about.
    #[error(
        "it must be plain: no comments, no backslashes, no backquotes, and no other than ASCII characters, as {0:?}"
    )]
    NotPlain(char),
    /// It does not parse.
    #[error("it does not parse")]
    Syntax,
}

/// Functions that select series which no selector names.
const SELECTING: [&str; 1] = ["info"];

/// Checks that a query, with its placeholders filled in, selects by `label="namespace"` everywhere.
///
/// # Errors
/// The first thing that might select something else.
pub fn confine(promql: &str, label: &str, namespace: &str) -> Result<(), ConfinementError> {
    // In plain text there is one way to tell where a string begins and ends.
    let is_plain = |c: char| (c.is_ascii_graphic() || matches!(c, ' ' | '\n' | '\t')) && !"#\\`".contains(c);
    if let Some(other) = promql.chars().find(|c| !is_plain(*c)) {
        // What we fill in for `{{ pods }}` has backslashes where a name has dots.
        if other != '\\' || !only_dots_are_escaped(promql) {
            return Err(ConfinementError::NotPlain(other));
        }
    }
    if syntax::too_deep(promql).is_some() {
        return Err(ConfinementError::Syntax);
    }
    let expression = parse(promql).map_err(|_| ConfinementError::Syntax)?;
    Confinement { label, namespace }.holds(&expression)
}

/// `\\.`, as a pattern of pods is quoted, and no other backslash.
fn only_dots_are_escaped(promql: &str) -> bool {
    !promql.replace(r"\\.", "").contains('\\')
}

struct Confinement<'a> {
    label: &'a str,
    namespace: &'a str,
}

impl Confinement<'_> {
    /// Every branch by hand: the library's own walk leaves the parameter of an aggregation out.
    fn holds(&self, expression: &Expr) -> Result<(), ConfinementError> {
        match expression {
            Expr::Aggregate(aggregate) => {
                if let Some(parameter) = &aggregate.param {
                    self.holds(parameter)?;
                }
                self.holds(&aggregate.expr)
            }
            Expr::Unary(unary) => self.holds(&unary.expr),
            Expr::Binary(binary) => {
                self.holds(&binary.lhs)?;
                self.holds(&binary.rhs)
            }
            Expr::Paren(paren) => self.holds(&paren.expr),
            Expr::Subquery(subquery) => self.holds(&subquery.expr),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(()),
            Expr::VectorSelector(selector) => self.selects(selector),
            Expr::MatrixSelector(matrix) => self.selects(&matrix.vs),
            Expr::Call(call) => {
                if SELECTING.contains(&call.func.name) {
                    return Err(ConfinementError::Function(call.func.name.to_owned()));
                }
                call.args.args.iter().try_for_each(|argument| self.holds(argument))
            }
            // Nobody has extended the language here.
            Expr::Extension(_) => Err(ConfinementError::Syntax),
        }
    }

    fn selects(&self, selector: &VectorSelector) -> Result<(), ConfinementError> {
        if !selector.matchers.or_matchers.is_empty() {
            return Err(ConfinementError::Or);
        }
        let names = |op: &MatchOp, value: &str| matches!(op, MatchOp::Equal) && value == self.namespace;
        if selector.matchers.matchers.iter().any(|one| one.name == self.label && names(&one.op, &one.value)) {
            return Ok(());
        }
        let selector = selector.name.clone().unwrap_or_else(|| "{...}".to_owned());
        Err(ConfinementError::Selector { selector, label: self.label.to_owned() })
    }
}
