"""LaTeX to text: structure, symbols, and broken or hostile sources."""

from __future__ import annotations

import pytest

from tests.formats.latex.convert import body, convert

PAPER = r"""
\documentclass{article} % a comment
\usepackage{amsmath}
\newtheorem{thm}{Theorem}
\newcommand{\R}{\mathbb{R}}
\newcommand{\norm}[2][2]{\lVert #2 \rVert_{#1}}
\def\be{\begin{equation}}\def\ee{\end{equation}}
\newcommand\model{\textsc{Net}\xspace}
\DeclareMathOperator{\argmin}{arg\,min}
\title[short]{On \emph{Rivers}\thanks{To all} and\\ Seas}
\author{A. Uthor}
\begin{document}
\maketitle
\begin{abstract}
We study rivers---fast ones---with \model and M\"uller's \'etude~\cite{a,b}.
\end{abstract}
\section{Introduction}\label{sec:i}
As shown in \cite{a}, ``water'' flows\footnote{Down, see \url{https://a.example}.} in $\R^n$ (see \cite{b}; \cite{c}).
It costs 5\,\% \& more; see Section~\ref{sec:i}. % hidden \cite{x}
% a line that is not there
We get \be \label{e} \argmin_x \norm{x} = \norm[1]{y} \ee
and \[ a \leq b. \]
\begin{itemize}
  \item first \textbf{point}
  \item[(b)] second
\end{itemize}
\begin{enumerate}\item one\item two\end{enumerate}
\begin{thm}[Main] Rivers end. \end{thm}
\begin{figure}[t]\includegraphics[width=3cm]{a.png}\caption[s]{A river in \textit{spring}.}\label{f}\end{figure}
\begin{table}\begin{tabular}{ll} a & b \\ c & d \end{tabular}\caption{Numbers.}\end{table}
\begin{align} x &= 1 \nonumber \\ y &= 2 \end{align}
\paragraph{Data.} It is {\bf bold} and \unknown{kept} \textcolor{red}{red} \href{http://x}{link}.
\iffalse never \fi
\begin{thebibliography}{9}\bibitem{a} Someone. \end{thebibliography}
\end{document}
trash
"""


EXPECTED = """\
We study rivers—fast ones—with Net and Müller's étude.

Introduction

As shown in, “water” flows in $\\mathbb{R}^n$. It costs 5 % & more; see Section. We get
$$\\operatorname{arg\\,min}_x \\lVert x \\rVert_{2} = \\lVert y \\rVert_{1}$$
and
$$a \\leq b.$$

Down, see https://a.example.

- first point
- (b) second

1. one
2. two

Theorem (Main). Rivers end.

A river in spring.

Numbers.

$$\\begin{align} x &= 1 \\\\ y &= 2 \\end{align}$$

Data. It is bold and kept red link."""


def test_a_paper_becomes_the_text_of_its_print() -> None:
    title, text = convert(PAPER)
    assert title == "On Rivers and Seas"
    assert text == EXPECTED


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (r"\"o\'{e}\^{\i}\c{c}\v s\o\ss{} \aa\ x \H{o}", "öéîçšøß å x ő"),
        (r"a -- b --- c ``q'' `r'", "a – b — c “q” ‘r'"),
        (r"\verb|\x{| is code", r"\x{ is code"),
        (r"in \cite{a}. And [\cite{b}, \cite{c}] (Eq.~\ref{d})", "in. And"),
        (r"cost \$5 and $x_{\$}$", r"cost $5 and $x_{\$}$"),
        (r"\( a \) and $$b$$", "$a$ and\n$$b$$"),
        ("one\n\ntwo\\par three\\\\four", "one\n\ntwo\n\nthree\nfour"),
    ],
)
def test_marks_and_symbols(markup: str, text: str) -> None:
    assert body(markup) == text


OPENINGS = [
    r"\begin{x}",
    r"\end{x}",
    "$",
    "$$",
    r"\[",
    r"\(",
    r"\footnote{",
    r"\section{",
    r"\cite{",
    "[",
    "(",
    r"\verb|",
]


COMMANDS = [
    r"\begin{verbatim}",
    r"\iffalse",
    r"\newcommand{\x}[1]{",
    r"\\[",
    r"\input{",
    r"\'{",
    r"\item[",
    r"\caption{",
]


SPACED = [r"\begin{itemize}\item ", r"\newcommand{\x}      ", " \n", "~", "--", "%", "\\", "{", "}"]


@pytest.mark.parametrize("piece", OPENINGS + COMMANDS + SPACED)
def test_broken_source_neither_hangs_nor_crashes(piece: str) -> None:
    for source in (piece * 20_000, (piece + "a ") * 5_000 + "\\end{verbatim}\\]\\fi}" + piece * 5_000):
        body(source)


def test_deep_nesting_is_left_out() -> None:
    assert body("start " + "\\begin{center}" * 3000 + "deep" + "\\end{center}" * 3000 + " end") == "start\n\nend"
    assert body("\\footnote{" * 3000 + "deep" + "}" * 3000 + " end") == "end"
