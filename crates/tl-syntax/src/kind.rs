//! The kinds of tokens and nodes.
//!
//! One table for the tokens that are always spelt alike (punctuation and keywords), from which lexer, messages and
//! formatter read; then the kinds whose spelling varies; then the nodes.
//!
//! Words such as `dim` or `learn` that mean something in one position only are not keywords but [`SyntaxKind::Ident`]
//! tokens that the parser recognizes there, so that they stay free as names.

macro_rules! kinds {
    (fixed { $($fixed:ident $spelling:literal)* } trivia { $($trivia:ident)* } open { $($open:ident)* } nodes { $($node:ident)* }) => {
        /// What a token or a node is.
        #[expect(missing_docs, reason = "the names say it, and the views in `ast` document the nodes")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum SyntaxKind { $($trivia,)* $($open,)* $($fixed,)* $($node,)* }

        impl SyntaxKind {
            /// The spelling of a token that is always spelt alike.
            pub fn spelling(self) -> Option<&'static str> {
                match self { $(SyntaxKind::$fixed => Some($spelling),)* _ => None }
            }

            /// Whether it is the kind of a token rather than of a node.
            pub fn is_token(self) -> bool {
                matches!(self, $(SyntaxKind::$trivia)|* $(| SyntaxKind::$open)* $(| SyntaxKind::$fixed)*)
            }

            /// Whether it is white space or a comment.
            pub fn is_trivia(self) -> bool {
                matches!(self, $(SyntaxKind::$trivia)|*)
            }

            /// The spellings of all keywords.
            pub fn keywords() -> impl Iterator<Item = &'static str> {
                [$($spelling),*].into_iter().filter(|spelling| spelling.as_bytes()[0].is_ascii_lowercase())
            }

            /// The keyword with this spelling.
            pub fn keyword(text: &str) -> Option<SyntaxKind> {
                match text {
                    $($spelling if $spelling.as_bytes()[0].is_ascii_lowercase() => Some(SyntaxKind::$fixed),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    fixed {
        LParen "(" RParen ")" LBracket "[" RBracket "]" LBrace "{" RBrace "}"
        Comma "," Semicolon ";" Colon ":" ColonEq ":=" Dot "." DotDot ".." Question "?" Pipe "|"
        Plus "+" Minus "-" Star "*" Slash "/" Percent "%" Caret "^"
        Eq "=" PlusEq "+=" EqEq "==" BangEq "!=" Lt "<" LtEq "<=" Gt ">" GtEq ">=" RArrow "->" LArrow "<-"
        LetKw "let" FnKw "fn" IfKw "if" ElseKw "else" ForKw "for" InKw "in" WhileKw "while" BreakKw "break"
        ContinueKw "continue" ReturnKw "return" ImportKw "import" AndKw "and" OrKw "or" NotKw "not"
        TrueKw "true" FalseKw "false" WhereKw "where" UntilKw "until"
    }
    trivia { Whitespace Newline LineComment DocComment BlockComment }
    open {
        Unknown Ident Underscore Number Str RawStr
        StrBegin StrText StrEnd InterpOpen InterpClose FormatSpec
        Eof
    }
    nodes {
        File Block
        Equation Rule RuleBody RuleBinding QueryStmt WhyStmt RelationDecl Column DimDecl DimBinding ParamDecl
        LearnStmt LearnEntry ImportStmt FnDecl LetStmt AssignStmt ForStmt WhileStmt BreakStmt ContinueStmt ReturnStmt
        MainStmt AssertStmt ExprStmt Error
        ProjectionOp WhereClause UntilClause StepsClause
        ParamList Param FnResult NamePattern TuplePattern
        NameExpr NumberLit StringLit InterpolatedString Interpolation BoolLit WildcardExpr VirtualIndex
        ParenExpr TupleExpr ListExpr DictExpr DictEntry
        OrExpr AndExpr NotExpr CompareExpr RangeExpr SumExpr ProductExpr NegExpr JoinExpr PowerExpr
        CallExpr ArgList NamedArg IndexExpr IndexList FieldExpr QueryExpr ProjectExpr GuardedExpr IfExpr ClosureExpr
        DottedIndex SliceIndex GroupIndex
    }
}

impl SyntaxKind {
    /// Whether it is a keyword.
    pub fn is_keyword(self) -> bool {
        self.spelling().is_some_and(|spelling| spelling.as_bytes()[0].is_ascii_lowercase())
    }

    /// The closing bracket that belongs to an opening one.
    pub fn closer(self) -> Option<SyntaxKind> {
        match self {
            SyntaxKind::LParen => Some(SyntaxKind::RParen),
            SyntaxKind::LBracket => Some(SyntaxKind::RBracket),
            SyntaxKind::LBrace => Some(SyntaxKind::RBrace),
            SyntaxKind::InterpOpen => Some(SyntaxKind::InterpClose),
            _ => None,
        }
    }

    /// Whether it is a closing bracket.
    pub fn is_closer(self) -> bool {
        matches!(self, Self::RParen | Self::RBracket | Self::RBrace | Self::InterpClose)
    }

    /// The kind in words for messages: "`+`", "a number", "the end of the file".
    pub fn describe(self) -> String {
        if let Some(spelling) = self.spelling() {
            let word = if self.is_keyword() { "the keyword " } else { "" };
            return format!("{word}`{spelling}`");
        }
        let words = match self {
            SyntaxKind::Ident => "a name",
            SyntaxKind::Underscore => "`_`",
            SyntaxKind::Number => "a number",
            SyntaxKind::Str | SyntaxKind::RawStr | SyntaxKind::StrBegin => "a string",
            SyntaxKind::StrText | SyntaxKind::FormatSpec | SyntaxKind::StrEnd => "the rest of a string",
            SyntaxKind::InterpOpen | SyntaxKind::InterpClose => "the `}` of an interpolation",
            SyntaxKind::Unknown => "an unknown character",
            SyntaxKind::Eof => "the end of the file",
            kind if kind.is_trivia() => "white space",
            _ => "this",
        };
        words.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::SyntaxKind;

    #[test]
    fn keywords_are_found_by_their_spelling_and_punctuation_is_not() {
        assert_eq!(SyntaxKind::keyword("where"), Some(SyntaxKind::WhereKw));
        assert_eq!(SyntaxKind::keyword("dim"), None);
        assert_eq!(SyntaxKind::keyword("+"), None);
        assert!(
            SyntaxKind::keywords().all(|word| SyntaxKind::keyword(word).is_some_and(SyntaxKind::is_keyword))
        );
        assert!(SyntaxKind::WhereKw.is_keyword() && !SyntaxKind::Plus.is_keyword());
        assert!(
            SyntaxKind::Eof.is_token() && !SyntaxKind::File.is_token() && SyntaxKind::Newline.is_trivia()
        );
    }
}
