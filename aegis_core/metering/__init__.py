"""Metering: what a call may cost at most, what it did cost, and what is charged when nobody can know.

::

    book = PriceBook(...)
    most = bound(request, api="anthropic", limits=Limits(output_tokens=book.output_maximum(model)))
    reserved = book.bound(most)                                    # nano-dollars to hold before the call
    reading = check(extract("anthropic", answer, model=model), most)
    charge = book.charge(reading, reserved, bound=most)            # exact, or the reservation, marked as estimated
    outcome = judge(error)                                         # of a call that failed
"""
