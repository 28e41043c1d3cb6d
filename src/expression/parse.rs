//! From a source to the operations of an expression, in the order in which they run.

use super::error::{ExpressionError, ExpressionFault};
use super::lex::{Lexer, Sign, Token};

/// Bytes of a source: 32,767 characters, the most that a flow's node takes, of four bytes each.
const SOURCE_BYTES_MAX: usize = 4 * 32_767;
/// Parentheses and operators before an operand that may stand within each other: the parser calls itself for each.
const NESTING_MAX: usize = 64;
/// Values that wait for their operator at a time; evaluating keeps room for so many.
pub(super) const STACK_MAX: usize = 32;

/// A step of evaluating, on a stack of values.
#[derive(Debug)]
pub(super) enum StackOperation<P> {
    /// Pushes a literal.
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    /// Pushes the value that a path leads to.
    Path(P),
    /// Takes the place of the last value.
    Unary(Unary),
    /// Takes the place of the last two values.
    Binary(Binary),
    /// If the last value is false, goes on behind so many operations; else drops it. It is the value of `&&` then.
    And {
        behind: usize,
    },
    /// If the last value is true, goes on behind so many operations; else drops it.
    Or {
        behind: usize,
    },
}

/// An operator before one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Plus,
    Minus,
}

/// An operator between two operands that are both evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Equal,
    NotEqual,
    Same,
    NotSame,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// An operator between two operands.
#[derive(Clone, Copy)]
enum Between {
    Or,
    And,
    Binary(Binary),
}

impl<P> StackOperation<P> {
    pub(super) fn path(&self) -> Option<&P> {
        if let StackOperation::Path(path) = self { Some(path) } else { None }
    }
}

/// The operator that a sign between two operands is, and how strongly it binds.
fn between(sign: Sign) -> Option<(Between, u8)> {
    use Between::Binary as B;
    Some(match sign {
        Sign::Or => (Between::Or, 1),
        Sign::And => (Between::And, 2),
        Sign::Equal => (B(Binary::Equal), 3),
        Sign::NotEqual => (B(Binary::NotEqual), 3),
        Sign::Same => (B(Binary::Same), 3),
        Sign::NotSame => (B(Binary::NotSame), 3),
        Sign::Less => (B(Binary::Less), 4),
        Sign::LessOrEqual => (B(Binary::LessOrEqual), 4),
        Sign::Greater => (B(Binary::Greater), 4),
        Sign::GreaterOrEqual => (B(Binary::GreaterOrEqual), 4),
        Sign::Plus => (B(Binary::Add), 5),
        Sign::Minus => (B(Binary::Subtract), 5),
        Sign::Times => (B(Binary::Multiply), 6),
        Sign::Divide => (B(Binary::Divide), 6),
        Sign::Remainder => (B(Binary::Remainder), 6),
        Sign::Open | Sign::Close | Sign::Not => return None,
    })
}

/// Compiles a source. `path` compiles what stands between `{{` and `}}`.
pub(super) fn parse<P>(
    source: &str,
    path: &mut dyn FnMut(&str) -> Result<P, String>,
) -> Result<Box<[StackOperation<P>]>, ExpressionError> {
    let mut lexer = Lexer::new(source);
    if source.len() > SOURCE_BYTES_MAX {
        return Err(lexer.error(0, ExpressionFault::TooLarge("an expression has at most 131,068 bytes")));
    }
    let (token, position) = lexer.next()?;
    let mut parser = Parser { lexer, token, position, operations: Vec::new(), nesting: 0, stack: 0, path };
    parser.binary(0)?;
    match parser.token {
        Token::End => Ok(parser.operations.into()),
        _ => Err(parser.expected("an operator or the end")),
    }
}

struct Parser<'s, 'p, P> {
    lexer: Lexer<'s>,
    /// The next token and where it begins.
    token: Token<'s>,
    position: usize,
    operations: Vec<StackOperation<P>>,
    nesting: usize,
    /// Values on the stack when the operations so far have run.
    stack: usize,
    path: &'p mut dyn FnMut(&str) -> Result<P, String>,
}

impl<P> Parser<'_, '_, P> {
    fn error(&self, fault: ExpressionFault) -> ExpressionError {
        self.lexer.error(self.position, fault)
    }

    fn expected(&self, what: &'static str) -> ExpressionError {
        self.error(ExpressionFault::Expected(what))
    }

    fn advance(&mut self) -> Result<(), ExpressionError> {
        (self.token, self.position) = self.lexer.next()?;
        Ok(())
    }

    /// Operands with operators between them that bind at least as strongly as `least`; equal ones from left to right.
    fn binary(&mut self, least: u8) -> Result<(), ExpressionError> {
        self.unary()?;
        loop {
            let Token::Sign(sign) = self.token else { return Ok(()) };
            let Some((operator, strength)) = between(sign).filter(|(_, strength)| *strength >= least) else {
                return Ok(());
            };
            self.advance()?;
            let jump = self.operations.len();
            match operator {
                Between::And => self.operations.push(StackOperation::And { behind: 0 }),
                Between::Or => self.operations.push(StackOperation::Or { behind: 0 }),
                Between::Binary(_) => {}
            }
            if !matches!(operator, Between::Binary(_)) {
                self.stack -= 1;
            }
            self.binary(strength + 1)?;
            let count = self.operations.len() - jump - 1;
            match (&mut self.operations[jump], operator) {
                (StackOperation::And { behind }, Between::And)
                | (StackOperation::Or { behind }, Between::Or) => {
                    *behind = count;
                }
                (_, Between::Binary(binary)) => {
                    self.operations.push(StackOperation::Binary(binary));
                    self.stack -= 1;
                }
                _ => {}
            }
        }
    }

    fn unary(&mut self) -> Result<(), ExpressionError> {
        let unary = match self.token {
            Token::Sign(Sign::Not) => Unary::Not,
            Token::Sign(Sign::Plus) => Unary::Plus,
            Token::Sign(Sign::Minus) => Unary::Minus,
            _ => return self.primary(),
        };
        self.nest()?;
        self.advance()?;
        self.unary()?;
        self.nesting -= 1;
        self.operations.push(StackOperation::Unary(unary));
        Ok(())
    }

    fn primary(&mut self) -> Result<(), ExpressionError> {
        let operation = match std::mem::replace(&mut self.token, Token::End) {
            Token::Path(text) => match (self.path)(text) {
                Ok(path) => StackOperation::Path(path),
                Err(why) => return Err(self.error(ExpressionFault::Path(why))),
            },
            Token::Text(text) => StackOperation::Text(text.into()),
            Token::Number(number) => StackOperation::Number(number),
            Token::Bool(value) => StackOperation::Bool(value),
            Token::Null => StackOperation::Null,
            Token::Undefined => StackOperation::Undefined,
            Token::Sign(Sign::Open) => return self.parentheses(),
            Token::Sign(_) | Token::End => {
                return Err(
                    self.expected("a path in `{{ }}`, a string, a number, `true`, `false`, `null` or `(`")
                );
            }
        };
        if self.stack == STACK_MAX {
            return Err(self.error(ExpressionFault::TooLarge("32 values wait for their operators already")));
        }
        self.stack += 1;
        self.operations.push(operation);
        self.advance()
    }

    /// Parses an expression in parentheses; the opening one is the present token.
    fn parentheses(&mut self) -> Result<(), ExpressionError> {
        self.nest()?;
        self.advance()?;
        self.binary(0)?;
        if self.token != Token::Sign(Sign::Close) {
            return Err(self.expected("an operator or `)`"));
        }
        self.nesting -= 1;
        self.advance()
    }

    fn nest(&mut self) -> Result<(), ExpressionError> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(self.error(ExpressionFault::TooLarge("nested deeper than 64 levels")));
        }
        Ok(())
    }
}
