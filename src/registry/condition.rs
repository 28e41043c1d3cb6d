//! The condition of a `ConditionalNode`: an expression over payload paths.

use crate::expression::{Expression, ExpressionWork, Operand, TooMuchWork};
use crate::model::{ConditionalConfig, ModelError};
use crate::template::{Path, PathRead, PathValue, Root, Template};

/// A condition, compiled.
#[derive(Debug)]
pub struct Condition(Expression<Path>);

impl Condition {
    /// Compiles the expression of a node.
    ///
    /// # Errors
    /// The field and what is wrong with it, and where.
    pub fn compile(config: &ConditionalConfig) -> Result<Condition, ModelError> {
        Expression::compile(&config.expression, &mut path)
            .map(Condition)
            .map_err(|error| ModelError::new("config.expression", format!("must be an expression: {error}")))
    }

    /// Tells all that it may look at of a payload.
    pub fn reads<'t>(&'t self, tell: &mut dyn FnMut(PathRead<'t>)) {
        self.0.paths().for_each(|path| path.reads(tell));
    }

    /// Whether it is true of a payload. `scratch` is where texts are made: its contents are lost.
    ///
    /// # Errors
    /// If there is not enough `work`.
    pub fn is_true(
        &self,
        payload: &dyn Root,
        work: &mut ExpressionWork,
        scratch: &mut Vec<u8>,
    ) -> Result<bool, TooMuchWork> {
        let find = &mut |path: &Path, work: &mut ExpressionWork| {
            let found = path.look(payload, &mut |bytes| work.spend(bytes))?;
            Ok(match found {
                None => Operand::Undefined,
                Some(PathValue::Json(raw)) => Operand::Json(raw),
                Some(PathValue::Document) => Operand::Document,
                Some(PathValue::Number(value)) => Operand::Number(value),
                Some(PathValue::Text(text)) => Operand::Text(text),
            })
        };
        self.0.is_true(find, work, scratch)
    }
}

/// Compiles what stands between `{{` and `}}`: a payload path and nothing else that a template may have there.
fn path(text: &str) -> Result<Path, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let path = Path::parse(text).map_err(|error| error.fault.to_string())?;
    // Brackets are a path's own syntax; what has none must be a path to templates too, so that a name of a helper or of a
    // variable is not taken for a member.
    if !text.contains('[') {
        if text.contains(char::is_whitespace) {
            return Err(
                "helpers are not supported here, and a name with a blank stands in brackets".to_owned()
            );
        }
        // An element of a list (`list.0`) is a member of a payload path alone: templates have brackets for it.
        let is_number = |segment: &str| segment.bytes().all(|byte| byte.is_ascii_digit());
        if !text.split('.').any(is_number) {
            Template::compile(&format!("{{{{{text}}}}}")).map_err(|error| error.fault.to_string())?;
        }
        if text.starts_with(['@', '.', '!', '#', '/', '&', '^', '>', '*', '~']) && text != "." {
            return Err("it begins with the name of a member of the payload".to_owned());
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::Raw;

    const PAYLOAD: &str = r#"{"time":"t","data":{"body":{"n":5,"list":[1,2],"a b":true,"s":"é\n"}}}"#;

    fn condition(expression: &str) -> Result<Condition, ModelError> {
        Condition::compile(&ConditionalConfig { expression: expression.to_owned() })
    }

    #[test]
    fn paths_lead_into_the_payload() {
        let root = Raw::document(PAYLOAD.as_bytes()).expect("JSON");
        for (expression, expected) in [
            ("{{data.body.n}} > 4", true),
            ("{{ data.body.n }} === 5 && {{data.missing.deep}} === undefined", true),
            (
                "{{data.body.list.length}} == 2 && {{data.body.list[1]}} == 2 && {{data.body.list.0}} == 1",
                true,
            ),
            ("{{data.body.[a b]}} && {{data.body['a b']}} === true", true),
            (
                "{{data.body.s}} === 'é\\n' && {{data.body.s[0]}} === 'é' && {{data.body.s.length}} === 2",
                true,
            ),
            ("{{data.body.s.[0]}} == {{data.body.s}}", false),
            (
                "{{data}} == {{data}} && {{.}} === {{.}} && {{data}} != {{.}} && {{.}} == '[object Object]'",
                true,
            ),
        ] {
            let condition = condition(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
            let is_true = condition.is_true(&root, &mut ExpressionWork::new(10_000), &mut Vec::new());
            assert_eq!(is_true, Ok(expected), "{expression}");
        }
    }

    #[test]
    fn a_path_is_paid_for() {
        let root = Raw::document(PAYLOAD.as_bytes()).expect("JSON");
        let condition = condition("{{data.body.list[1]}} == 2").expect("it compiles");
        let mut work = ExpressionWork::new(10_000);
        assert_eq!(condition.is_true(&root, &mut work, &mut Vec::new()), Ok(true));
        let cost = 10_000 - work.left();
        assert!(cost > PAYLOAD.len() / 2, "{cost}");
        let too_little = condition.is_true(&root, &mut ExpressionWork::new(cost - 1), &mut Vec::new());
        assert_eq!(too_little, Err(TooMuchWork));
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_place() {
        for (expression, column, why) in [
            ("1 == {{}}", 6, "empty"),
            ("{{upper data.x}} == 'A'", 1, "helpers"),
            ("{{length}} == 1", 1, "length"),
            ("{{#if x}}", 1, "helpers"),
            ("{{data..x}}", 1, "expected a name"),
            ("{{@root.x}}", 1, "a member"),
            ("{{../x}}", 1, "expected a name"),
            ("{{> x}}", 1, "helpers"),
            ("{{!x}}", 1, "a member"),
        ] {
            let error = condition(expression).expect_err(expression);
            assert_eq!(error.field(), "config.expression");
            assert!(
                error.message().contains(&format!("line 1, column {column}: not a payload path")),
                "{error}"
            );
            assert!(error.message().contains(why), "{error}");
        }
    }
}
