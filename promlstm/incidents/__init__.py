"""Which anomalies belong together, and which of their things is to blame. It knows no HTTP, no thread and no clock of its own.

    kinds      what kind of series a name speaks of: cause-like or effect-like
    ranking    evidence and dependencies to the probability of being the cause
    rises      what a score was before it rose, and which rise without an alarm
    words      the evidence for one thing in words
"""

__all__ = ['kinds', 'ranking', 'rises', 'words']
