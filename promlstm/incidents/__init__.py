"""Incidents: alarms that belong together, and which of them is to blame. It asks nobody, and knows no clock.

    graph      what depends on what
    edges      which queries tell of edges, and what their answers mean
    learnt     edges that were learnt from history, in a file
"""

__all__ = ['edges', 'graph', 'learnt']
