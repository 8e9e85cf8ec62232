"""Which methods a buyer is offered, over which rail and in which currency, and why.

Read in this order: ``facts`` (what is known of a session), ``rules`` (the YAML), ``conditions`` (what a ``when`` means),
``load`` (YAML -> checked Ruleset), ``engine`` (the decision, pure), ``decision`` and ``explain`` (kept and shown).
"""
